"""Prints the known answers of TestHashesKnownAnswers: the key in hex and its five points.

Run in this directory: python3 hashes.py > hashes.txt
"""
import hashlib

KEYS = [
    b"",
    b" ",
    b"a",
    b"abc",
    b"core/lock",
    b"sys/policy/default",
    b"/" * 31 + b"x",
    "schlüssel/ключ/鍵/🔑".encode(),
    bytes(range(32, 127)),
    b"k" * 128,  # the longest of hashes' short keys, and one more
    b"k" * 129,
    bytes(i % 251 for i in range(2048)),  # the longest of its long keys, and one more
    bytes(i % 251 for i in range(2049)),
]


def points(key):
    def number(name):
        return int.from_bytes(hashlib.new(name, key).digest(), "big")

    yield number("sha1") << 224
    yield number("sha224") << 160
    yield number("sha256") << 128
    yield number("sha384")
    yield number("sha512") % 2**384


for key in KEYS:
    print(key.hex() or "-", *("%096x" % p for p in points(key)))
