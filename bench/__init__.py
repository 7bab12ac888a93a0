"""What is measured, and how: `python -m bench list`, then `python -m bench NAME`."""
