"""Movies, volumes and mosaics larger than memory."""
