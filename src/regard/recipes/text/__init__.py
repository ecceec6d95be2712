"""Scripts written before `regard.domains` find the tokenizer here."""
