"""What a function takes along: the names that it captures, the modules that it needs, the source of its lines."""
