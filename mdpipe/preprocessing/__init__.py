"""Recognise, check and classify input frames, and group them."""
