"""Dropout draws, from one wide pass or from seeded passes."""
