"""What makes up for differences between detectron2, its versions and what is compiled here."""
