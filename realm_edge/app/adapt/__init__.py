"""``realm-edge adapt``: a student for an unlabelled day, whether it replaces the old one, and what an implant would be sent."""
