"""Checks of error messages."""

import re

import pytest


def fails(kind, *says):
    """The call must raise `kind` (exactly) with a message that has all of `says` in it."""
    class Check:
        def __enter__(self):
            self.context = pytest.raises(kind)
            self.info = self.context.__enter__()

        def __exit__(self, *exc):
            assert self.context.__exit__(*exc)
            assert self.info.type is kind
            message = str(self.info.value)
            for text in says:
                assert text in message, message
            assert "{" not in message and not re.search(r"0x[0-9a-f]{6}", message), message
            return True
    return Check()
