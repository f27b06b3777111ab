"""The only room that knows detectron2 and torch: worker, trainer, hooks, writers."""
