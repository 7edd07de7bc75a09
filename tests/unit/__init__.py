"""Pure rules: no process, no socket, no file that another test could see."""
