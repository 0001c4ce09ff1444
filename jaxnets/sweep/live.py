class Live:
    def __init__(self, quiet=False):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *a):
        pass

    def say(self, x):
        print(x, flush=True)

    def show(self, f):
        pass
