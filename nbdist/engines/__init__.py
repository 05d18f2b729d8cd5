"""What runs a pool's jobs: the hub, or this process (inline); later adapters to Dask and Ray. `base.py` is the seam."""
