// What a reader takes from the page: a file, or words in the clipboard.

function saveFile(name, blob) {
  const link = node("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// The button answers, and bears its name again after a while.
async function copyWords(button, words) {
  button.dataset.name ??= button.textContent;
  try {
    await navigator.clipboard.writeText(words);
    setText(button, "Copied");
  } catch {
    setText(button, "The browser does not allow it"); // a page without https, say
  }
  setTimeout(() => setText(button, button.dataset.name), 2000);
}
