"""The migration page against the libraries it speaks of: `make test-peers`, which installs them."""
