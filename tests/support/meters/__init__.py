"""Power meters under test, and what they read: folders of /sys, files, programs, services."""
