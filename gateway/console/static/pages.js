// Every page of the console: an entry here, and a module in pages/. `title`, `icon` and `letter` (after `g`) are of those in the navigation.
import { AccountPage } from "./pages/account.js";
import { AdaptersPage } from "./pages/adapters.js";
import { BringPage } from "./pages/bring.js";
import { DevicesPage } from "./pages/devices.js";
import { DraftsPage } from "./pages/drafts.js";
import { MorePage } from "./pages/more.js";
import { SamplesPage } from "./pages/samples.js";
import { SystemPage } from "./pages/system.js";
import { ThreadsPage } from "./pages/threads.js";
import { TrainingPage } from "./pages/training.js";
import { TrainingsPage } from "./pages/trainings.js";
import { texts } from "./texts.js";

const PAGES = [
  { path: "threads", page: ThreadsPage, title: texts.threads.title, icon: "threads", letter: "t" },
  { path: "threads/:conversationId", page: ThreadsPage },
  { path: "drafts", page: DraftsPage, title: texts.drafts.title, icon: "drafts", letter: "d" },
  { path: "samples", page: SamplesPage, title: texts.samples.title, icon: "samples", letter: "s" },
  { path: "bring", page: BringPage, title: texts.bring.title, icon: "bring", letter: "b" },
  { path: "trainings", page: TrainingsPage, title: texts.trainings.title, icon: "trainings", letter: "r" },
  { path: "trainings/:jobId", page: TrainingPage },
  { path: "adapters", page: AdaptersPage, title: texts.adapters.title, icon: "voice", letter: "v" },
  { path: "devices", page: DevicesPage, title: texts.devices.title, icon: "devices", letter: "e" },
  { path: "account", page: AccountPage, title: texts.account.title, icon: "account", letter: "a" },
  { path: "system", page: SystemPage, title: texts.system.title, icon: "system", letter: "y" },
  { path: "more", page: MorePage },
];

export const NAVIGATION = PAGES.filter((page) => page.title);

/** The page of an address and the parameters in it, or null: `{ page, params: { conversationId: "…" } }`. */
export function pageOf(parts) {
  for (const { path, page } of PAGES) {
    const pattern = path.split("/");
    const fits = pattern.length === parts.length && pattern.every((part, place) => part.startsWith(":") || part === parts[place]);
    if (fits) {
      const named = pattern.map((part, place) => [part, parts[place]]).filter(([part]) => part.startsWith(":"));
      return { page, params: Object.fromEntries(named.map(([part, value]) => [part.slice(1), value])) };
    }
  }
  return null;
}
