// The code stands behind '#', which no browser sends: it is posted once and taken out of the address.
const code = new URLSearchParams(location.hash.slice(1)).get("code");
history.replaceState(null, "", location.pathname);
const say = (text) => { document.getElementById("state").textContent = text; };
if (!code) {
  say("This page needs a login link: %distribute web in a notebook shows one, and so does nbdist status --web.");
} else {
  fetch("/login", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ code }) })
    .then(async (answer) => { if (answer.ok) location.replace("/"); else say(await answer.text()); })
    .catch((error) => say("The hub does not answer: " + error));
}
