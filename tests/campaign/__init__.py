"""Long proofs of the money promises; `python -m tests.campaign` runs them."""
