"""bfloat16 on the CPU: what it does to a model's layers here, and what of detectron2 stays in float32 with it."""
