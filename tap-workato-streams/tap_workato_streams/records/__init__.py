"""The shape of a record: nested or unpacked, its columns, and what does not fit them."""
