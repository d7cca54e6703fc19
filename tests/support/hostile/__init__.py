"""A worker that was taken over, on the real link and behind the real walls: it does whatever it is told to.

The product is as it is but for one function: `worker.boot.serve`, which begins when the boot message is read and the
walls stand. Workers of agents named `mallory…` run `worker.serve` of this package in its place; they hold that agent's
keys and token. `zygote` and `container` put it there on the host and in an image, `gateway` is the command line of a
gateway with such a zygote, and `stage` is the test's side. Nothing here but `stage` knows of the tests.
"""
