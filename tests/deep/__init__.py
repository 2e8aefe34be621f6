"""Long runs behind `make deep`: differential tests by the ten thousand, and coverage-guided fuzzing."""
