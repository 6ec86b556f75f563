"""Programs to try SLIM with, and to copy from: ``slim-examples ff``, ``rr``, ``pubsub`` and ``server``.

One file each, and what they share in ``_options``. ``slim-examples COMMAND --help`` says what they take.
"""
