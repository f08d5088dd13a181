"""People who label: their answers, what they are asked, and the page.

The modules that the page needs do not import PyTorch, so that it starts at once.
"""
