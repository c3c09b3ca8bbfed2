"""What gunicorn serves in the test: half of its paths do not exist."""


def app(environ, start_response):
    found = environ["PATH_INFO"] == "/"
    start_response("200 OK" if found else "404 Not Found", [("Content-Type", "text/plain")])
    return [b"ok\n" if found else b"no\n"]
