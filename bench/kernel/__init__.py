"""What tracking dirty pages costs in the patched kernel, against the dirty ring and the bitmap."""
