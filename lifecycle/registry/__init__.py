"""Where everything that vlm knows is stored; the only room that knows SQLAlchemy and Alembic."""
