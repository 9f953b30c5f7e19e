import assert from "node:assert/strict";
import { test } from "node:test";

import { inSubnet, wayOut } from "../../static/js/lib/subnets.js";

test("an address is in its subnet, with or without a prefix length of its own", () => {
  assert.equal(inSubnet("10.20.0.7", "10.20.0.0/24"), true);
  assert.equal(inSubnet("10.20.0.7/24", "10.20.0.0/24"), true);
  assert.equal(inSubnet("10.20.31.7", "10.20.16.0/20"), true);
  assert.equal(inSubnet("10.20.32.7", "10.20.16.0/20"), false);
  assert.equal(inSubnet("fd12:3456:789a:1::5", "fd12:3456:789a:1::/64"), true);
  assert.equal(inSubnet("fd12:3456:789a:2::5", "fd12:3456:789a:1::/64"), false);
});

test("another family, or no subnet, is none", () => {
  assert.equal(inSubnet("fd12::5", "10.20.0.0/24"), false);
  assert.equal(inSubnet("10.20.0.7", "fd12::/64"), false);
  assert.equal(inSubnet("10.20.0.7", ""), false);
  assert.equal(inSubnet("10.20.0.7", null), false);
});

test("the way out of a network is said in one way everywhere", () => {
  assert.equal(wayOut({ engine: "raw", nat: true }), "NAT");
  assert.equal(wayOut({ engine: "raw", nat: false }), "internal");
  assert.equal(wayOut({ engine: "docker", driver: "host", nat: false }), "the host's own");
  assert.equal(wayOut({ engine: "docker", driver: "null", nat: false }), "none");
});
