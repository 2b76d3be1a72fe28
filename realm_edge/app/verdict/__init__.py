"""``realm-edge verdict``: every scenario priced on parts and links, from one run, and the page that says what decides."""
