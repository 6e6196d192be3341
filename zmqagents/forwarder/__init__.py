"""The place of the forwarder, the optional broker for processes that can't reach each other.

It will not need AutoGen.
"""
