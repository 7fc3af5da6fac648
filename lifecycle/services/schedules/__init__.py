"""The nightly audit in the hands of a timer."""
