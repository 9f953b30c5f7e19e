// Its confinement: user, capabilities, system call filter, id map.

import { h } from "../dom.js";
import { ALL_CAPABILITIES, DEFAULT_CAPABILITIES } from "../lib/capabilities.js";
import { freeId } from "../lib/id_maps.js";
import { store } from "../store.js";
import { check, field, input, number, rowList, select } from "./fields.js";

/** What is no JSON goes as it is: the API says what is wrong with it. */
function json(control) {
  try {
    return JSON.parse(control.value);
  } catch {
    return control.value;
  }
}

export class SecurityFields {
  /** uids: {base, count} of the host that sandboxes are given */
  constructor(uids, touched) {
    this.user = input("user", "the image's, as UID:GID");
    this.seccomp = select("seccomp", [["default", "the default filter"], ["off", "no filter"]]);
    this.profile = h("textarea", { name: "seccomp_profile", rows: 3, placeholder: '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}', spellcheck: "false" });
    this.masked = h("textarea", { name: "masked_paths", rows: 2, placeholder: "/etc/secret, one a line", spellcheck: "false" });
    this.readOnlyPaths = h("textarea", { name: "read_only_paths", rows: 2, placeholder: "/srv, one a line", spellcheck: "false" });
    this.noNewPrivs = check("no_new_privs", "No new privileges (set-user-id programs gain nothing)", true);
    this.boxes = ALL_CAPABILITIES.map((name) => {
      const box = h("input", { type: "checkbox", dataset: { name }, props: { checked: DEFAULT_CAPABILITIES.includes(name) } });
      return h("label", { class: "cap" }, box, name.replace("CAP_", "").toLowerCase());
    });
    const set = (wanted) => {
      for (const label of this.boxes) label.firstChild.checked = wanted.includes(label.firstChild.dataset.name);
      touched();
    };
    this.set = set;
    this.ids = rowList({
      title: "Id map (a range of its own, when left empty)", add: "Add a line", touched, testid: "create-id-map",
      columns: ["inside", "outside", "count"].map((name) => ({ name, label: { inside: "First id inside", outside: "First id on the host", count: "How many" }[name], make: () => input(name, name, { inputmode: "numeric", size: 10 }) })),
    });
    const rootAlone = () => {
      const outside = freeId(uids, [...store.containers.values()].map((container) => container.user_map ?? ""));
      this.ids.show([{ inside: 0, outside, count: 1 }]);
      touched();
    };
    if (uids?.count) this.ids.element.append(h("div", null, h("button", { type: "button", class: "tiny", title: "One line: root inside is a single user outside, and there is nobody else", "data-testid": "create-id-map-root", on: { click: rootAlone } }, "Map root alone")));
    this.element = h("details", null, h("summary", { class: "quiet" }, "Security: user, capabilities, system calls, id map"),
      h("div", { class: "cols more" }, field("User", this.user), field("System calls (seccomp)", this.seccomp),
        h("div", { class: "field wide", role: "group", "aria-label": "Capabilities" }, h("span", { class: "label row" }, "Capabilities", h("button", { type: "button", class: "tiny bare", on: { click: () => set([]) } }, "none"), h("button", { type: "button", class: "tiny bare", on: { click: () => set(DEFAULT_CAPABILITIES) } }, "the default set")), h("div", { class: "caps" }, this.boxes)),
        this.noNewPrivs.element, field("A profile of one's own (JSON, as for Docker)", this.profile, "Applied beside the filter above, so that it can only forbid more."), h("span"),
        field("Hidden paths, beside the usual", this.masked), field("Read-only paths, beside the usual", this.readOnlyPaths), this.ids.element));
  }

  get #capabilities() {
    return this.boxes.map((label) => label.firstChild).filter((box) => box.checked).map((box) => box.dataset.name);
  }

  show(spec) {
    const { security = {} } = spec;
    this.user.value = spec.user ?? "";
    this.seccomp.value = security.seccomp ?? "default";
    this.noNewPrivs.box.checked = security.no_new_privs !== false;
    this.set(security.capabilities ?? DEFAULT_CAPABILITIES);
    this.profile.value = security.seccomp_profile ? JSON.stringify(security.seccomp_profile, null, 1) : "";
    this.masked.value = (security.masked_paths ?? []).join("\n");
    this.readOnlyPaths.value = (security.read_only_paths ?? []).join("\n");
    this.ids.show(spec.id_map ?? []);
  }

  read(body) {
    if (this.user.value.trim()) body.user = this.user.value.trim();
    const security = {};
    if (this.seccomp.value !== "default") security.seccomp = this.seccomp.value;
    if (!this.noNewPrivs.box.checked) security.no_new_privs = false;
    if (this.profile.value.trim()) security.seccomp_profile = json(this.profile);
    for (const [name, control] of [["masked_paths", this.masked], ["read_only_paths", this.readOnlyPaths]]) {
      const paths = control.value.split("\n").map((line) => line.trim()).filter(Boolean);
      if (paths.length) security[name] = paths;
    }
    const chosen = this.#capabilities;
    if (chosen.join() !== ALL_CAPABILITIES.filter((name) => DEFAULT_CAPABILITIES.includes(name)).join()) security.capabilities = chosen;
    if (Object.keys(security).length) body.security = { ...body.security, ...security };
    const ids = this.ids.values();
    if (ids.length) body.id_map = ids.map(({ inside, outside, count }) => ({ inside: number(inside), outside: number(outside), count: number(count) }));
  }
}
