"""Files that items write and files that they are given: where they lie on a machine, and how they travel."""
