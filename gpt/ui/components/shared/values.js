// How a component takes its value.

// A value arrives as an object or, because Gradio's page walks long lists slowly, as one JSON string.
function valueAsObject(value) {
  return typeof value === "string" ? JSON.parse(value || "null") : value;
}

// Tests wait on this: how many values the component has shown.
function countAsPainted() {
  element.dataset.painted = Number(element.dataset.painted ?? 0) + 1;
}

// Shows every value that arrives. Of one that holds nothing to show, its sentence in `empty` stands in place of
// `page`, or else the invitation.
function showValues({ page, empty, invitation = "", holdsSomething, show, forget = () => {} }) {
  const receive = () => {
    const value = valueAsObject(props.value);
    const isEmpty = !(value && holdsSomething(value));
    page.hidden = isEmpty;
    empty.hidden = !isEmpty;
    setText(empty, value?.empty || invitation);
    if (isEmpty) forget();
    else show(value);
    countAsPainted();
  };
  watch("value", receive);
  receive();
}
