const samples = [...document.querySelectorAll("#samples > li")];
const filters = document.querySelector("#filters");
const count = document.querySelector("#shown");
if (filters) {
  filters.hidden = false;
  const apply = () => {
    const [label, reason] = ["label", "reason"].map((name) => filters.elements[name].value);
    let shown = 0;
    for (const sample of samples) {
      sample.hidden =
        (label !== "" && sample.dataset.label !== label) || (reason !== "" && sample.dataset.reason !== reason);
      shown += !sample.hidden;
    }
    count.textContent = `${shown} shown`;
  };
  filters.addEventListener("change", apply);
  filters.addEventListener("submit", (event) => event.preventDefault());
  apply();
}
