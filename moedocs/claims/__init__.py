"""What is commonly said of sparse models, with a verdict, and checks that the engine runs."""
