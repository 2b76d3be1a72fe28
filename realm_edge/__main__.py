"""``python -m realm_edge`` is ``realm-edge``; torchrun starts it so."""

from realm_edge.app.cli import main

if __name__ == "__main__":
    main()
