"""The command line: ``npsubpix locate``, ``npsubpix align``, ``npsubpix info``."""
