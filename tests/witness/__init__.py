"""What kornia computes: recorded once, release by release, and compared with by test_kornia.py."""
