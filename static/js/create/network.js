// Its network: which one, the ports that the host answers for it, and names.

import { h } from "../dom.js";
import { field, input, number, rowList, select } from "./fields.js";

export class NetworkFields {
  constructor(networks, touched) {
    this.all = networks;
    this.network = h("select", { name: "network", "data-testid": "create-network" });
    this.dns = input("dns", "the host's name servers");
    this.ports = rowList({
      title: "Published ports", add: "Publish a port", touched, testid: "create-port",
      columns: [
        { name: "host_port", label: "Port of the host", make: () => input("host_port", "host port (any)", { inputmode: "numeric", size: 14 }) },
        { name: "container_port", label: "Port inside", make: () => input("container_port", "port inside", { inputmode: "numeric", size: 10 }) },
        { name: "protocol", label: "Protocol", make: () => select("protocol", [["tcp", "tcp"], ["udp", "udp"]]) },
        { name: "host_ip", label: "Address of the host", make: () => input("host_ip", "every address", { size: 14 }) },
      ],
    });
    this.hosts = rowList({
      title: "Names in /etc/hosts", add: "Add a name", touched, testid: "create-host",
      columns: [{ name: "name", label: "Name", make: () => input("name", "db.test") }, { name: "address", label: "Address", make: () => input("address", "10.0.0.5") }],
    });
    this.inside = h("div", { class: "cols more" }, field("Network", this.network), field("Name servers", this.dns, "Addresses, with spaces between"), this.ports.element, this.hosts.element);
    this.element = h("details", null, h("summary", { class: "quiet" }, "Network: which, published ports, names"), this.inside);
  }

  engineChanged(engine) {
    const names = this.all.filter((one) => one.engine === engine && !["host", "none", "default", "bridge"].includes(one.name)).map((one) => [one.name, one.name]);
    const before = this.network.value;
    this.network.replaceChildren(...[["", "the default one"], ...names].map(([value, text]) => h("option", { value }, text)));
    if (names.some(([name]) => name === before)) this.network.value = before;
  }

  show(spec) {
    this.network.value = spec.network ?? "";
    this.dns.value = (spec.dns ?? []).join(" ");
    this.ports.show(spec.ports ?? []);
    this.hosts.show(Object.entries(spec.extra_hosts ?? {}).map(([name, address]) => ({ name, address })));
  }

  read(body) {
    const hosts = this.hosts.values();
    if (hosts.length) body.extra_hosts = Object.fromEntries(hosts.map((row) => [row.name, row.address]));
    if (this.network.value) body.network = this.network.value;
    const dns = this.dns.value.split(/[\s,]+/).filter(Boolean);
    if (dns.length) body.dns = dns;
    const ports = this.ports.values().map(({ host_port, container_port, protocol, host_ip }) => ({
      container_port: number(container_port), ...(host_port ? { host_port: number(host_port) } : {}), ...(protocol === "tcp" ? {} : { protocol }), ...(host_ip ? { host_ip } : {}),
    }));
    if (ports.length) body.ports = ports;
  }
}
