"""Tests of tracetorch."""
