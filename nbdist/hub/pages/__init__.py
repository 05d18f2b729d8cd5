"""What a person sees of the hub in a browser, and the files that a joining machine fetches."""
