import { type AgentView, stripControl } from '@capstan/protocol';

/** An agent's view with every text of the peer made safe to store as JSON (no NUL) and to print on a terminal. */
export function safeText(view: AgentView): AgentView {
  const { error, harvest } = view;
  return {
    ...view,
    taskId: stripControl(view.taskId),
    runtime: stripControl(view.runtime),
    error: error === null ? null : { code: stripControl(error.code), sentence: stripControl(error.sentence) },
    harvest:
      harvest === null
        ? null
        : {
            ...harvest,
            branch: stripControl(harvest.branch),
            baseCommit: stripControl(harvest.baseCommit),
            commit: stripControl(harvest.commit),
            tree: stripControl(harvest.tree),
            files: harvest.files.map(stripControl),
          },
  };
}
