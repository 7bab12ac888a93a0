"""How few bytes can this be, and what does it cost?"""
