"""`regard app`: a local page that learns from what is drawn, dropped or pasted, and says why (extra `app`).

page     the tabs, and the server that hands them out on this machine only
desk     one model and what is asked of it: answer, save, take along
board    the markup, style and script of a tab; it keeps everything that a user gave, so the server keeps nothing
"""
