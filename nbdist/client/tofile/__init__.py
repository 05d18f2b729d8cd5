"""Results that go to a file as they come, in order, instead of into memory."""
