// The editor of a cell: CodeMirror with Python, coloured by the page's own variables so that it follows both palettes.

import {defaultKeymap, history, historyKeymap, indentWithTab} from '@codemirror/commands';
import {python} from '@codemirror/lang-python';
import {HighlightStyle, bracketMatching, indentOnInput, indentUnit, syntaxHighlighting} from '@codemirror/language';
import {EditorState, StateEffect, StateField} from '@codemirror/state';
import {Decoration, EditorView, drawSelection, keymap, lineNumbers} from '@codemirror/view';
import {tags} from '@lezer/highlight';

const HELP = 'Control and Enter run the cell. Tab indents once you have typed; Escape and then Tab leave the editor.';

const colour = name => `var(--md-code-hl-${name}-color)`;

const highlighting = HighlightStyle.define([
  {tag: [tags.keyword, tags.self, tags.modifier], color: colour('keyword')},
  {tag: [tags.string, tags.special(tags.string)], color: colour('string')},
  {tag: [tags.number], color: colour('number')},
  {tag: [tags.comment], color: colour('comment')},
  {tag: [tags.bool, tags.null], color: colour('constant')},
  {tag: [tags.operator, tags.derefOperator], color: colour('operator')},
  {tag: [tags.punctuation, tags.bracket, tags.separator], color: colour('punctuation')},
  {tag: [tags.function(tags.definition(tags.variableName)), tags.definition(tags.className)], color: colour('function')},
]);

const markLine = StateEffect.define();

const marked = StateField.define({
  create: () => Decoration.none,
  update(lines, transaction) {
    if (transaction.docChanged) lines = Decoration.none;
    for (const effect of transaction.effects) {
      if (effect.is(markLine)) lines = effect.value ? Decoration.set([effect.value]) : Decoration.none;
    }
    return lines;
  },
  provide: field => EditorView.decorations.from(field),
});

const faulty = Decoration.line({class: 'moe-cell__faulty'});

export class Editor {
  /** Takes the place of the code; `run` and `changed` are called for the reader's keys and edits. */
  constructor(place, text, {run, changed}) {
    this.place = place;
    this.still = place.querySelector('pre');
    const held = place.contains(document.activeElement);
    const go = () => (run(), true);
    const extensions = [
      lineNumbers(),
      history(),
      drawSelection(),
      indentOnInput(),
      bracketMatching(),
      indentUnit.of('    '),
      python(),
      syntaxHighlighting(highlighting),
      marked,
      keymap.of([
        {key: 'Mod-Enter', run: go},
        {key: 'Shift-Enter', run: go},
        {key: 'Escape', run: view => (view.setTabFocusMode(true), true)},
        indentWithTab,
        ...historyKeymap,
        ...defaultKeymap,
      ]),
      EditorView.contentAttributes.of({'aria-label': 'Code of the cell', 'aria-description': HELP}),
      EditorView.updateListener.of(update => {
        if (!update.docChanged) return;
        update.view.setTabFocusMode(false);
        changed();
      }),
      EditorView.domEventHandlers({
        // who only passes through with Tab is not held; whoever types gets Tab for indenting
        focus: (event, view) => view.setTabFocusMode(true),
      }),
    ];
    this.view = new EditorView({state: EditorState.create({doc: text, extensions}), parent: place});
    this.still.hidden = true;
    if (held) this.view.focus();
  }

  text() {
    return this.view.state.doc.toString();
  }

  put(text) {
    if (text === this.text()) return;
    this.view.dispatch({changes: {from: 0, to: this.view.state.doc.length, insert: text}});
  }

  focus(at) {
    const position = at && this.view.posAtCoords(at);
    if (position != null) this.view.dispatch({selection: {anchor: position}});
    this.view.focus();
  }

  /** Select the first place where this text stands, to be typed over. */
  select(text) {
    const from = this.text().indexOf(text);
    if (from >= 0) this.view.dispatch({selection: {anchor: from, head: from + text.length}});
  }

  /** Show where an error lies; no number takes the mark away. */
  mark(line) {
    const {doc} = this.view.state;
    const range = line && line <= doc.lines ? faulty.range(doc.line(line).from) : null;
    this.view.dispatch({effects: markLine.of(range)});
  }

  leave() {
    this.view.destroy();
    this.still.hidden = false;
  }
}
