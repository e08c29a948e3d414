const field = document.querySelector("input");
field.parentElement.hidden = false;
field.addEventListener("input", () => {
  const wanted = field.value.trim().toLowerCase();
  for (const part of document.querySelectorAll("[data-name]")) {
    const fits = part.dataset.name.toLowerCase().includes(wanted);
    if (part.tagName === "TR") part.hidden = !fits;
    else part.classList.toggle("faint", !fits);
  }
});
