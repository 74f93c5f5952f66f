"""Tests of the documentation: its code runs, its worked examples agree with mathematics, its promises hold."""
