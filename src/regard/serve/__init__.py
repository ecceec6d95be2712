"""A trained learner as a web service (extra `serve`): adapt once, get a handle, ask it many times, delete it.

service    the routes, limits, token and logs
handles    the examples behind each handle, on disk before they are acknowledged
batching   questions that wait for one handle are answered together
"""
