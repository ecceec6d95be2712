"""References as data, so that what was used can be cited: `regard cite LEARNER` prints them."""

from __future__ import annotations

from dataclasses import dataclass

from regard.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Reference:
    """One paper; `venue` is the journal of an article and the book of the others."""

    key: str
    kind: str
    authors: str
    title: str
    venue: str
    year: int
    arxiv: str | None = None

    def bibtex(self) -> str:
        """The BibTeX entry."""
        fields = {
            "author": self.authors,
            "title": f"{{{self.title}}}",
            "journal" if self.kind == "article" else "booktitle": self.venue,
            "year": str(self.year),
        }
        if self.arxiv is not None:
            fields |= {"eprint": self.arxiv, "archiveprefix": "arXiv"}
        lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
        return "\n".join([f"@{self.kind}{{{self.key},", *lines, "}"])


REFERENCES: tuple[Reference, ...] = (
    Reference(
        "cover1967",
        "article",
        "Cover, Thomas M. and Hart, Peter E.",
        "Nearest neighbor pattern classification",
        "IEEE Transactions on Information Theory",
        1967,
    ),
    Reference(
        "koch2015",
        "inproceedings",
        "Koch, Gregory and Zemel, Richard and Salakhutdinov, Ruslan",
        "Siamese Neural Networks for One-shot Image Recognition",
        "ICML Deep Learning Workshop",
        2015,
    ),
    Reference(
        "schroff2015",
        "inproceedings",
        "Schroff, Florian and Kalenichenko, Dmitry and Philbin, James",
        "FaceNet: A Unified Embedding for Face Recognition and Clustering",
        "IEEE Conference on Computer Vision and Pattern Recognition",
        2015,
        "1503.03832",
    ),
    Reference(
        "vinyals2016",
        "inproceedings",
        "Vinyals, Oriol and Blundell, Charles and Lillicrap, Timothy and Kavukcuoglu, Koray and Wierstra, Daan",
        "Matching Networks for One Shot Learning",
        "Advances in Neural Information Processing Systems",
        2016,
        "1606.04080",
    ),
    Reference(
        "rocktaschel2016",
        "inproceedings",
        "Rockt{\\\"a}schel, Tim and Grefenstette, Edward and Hermann, Karl Moritz and Ko{\\v{c}}isk{\\'y}, "
        "Tom{\\'a}{\\v{s}} and Blunsom, Phil",
        "Reasoning about Entailment with Neural Attention",
        "International Conference on Learning Representations",
        2016,
        "1509.06664",
    ),
    Reference(
        "parikh2016",
        "inproceedings",
        'Parikh, Ankur and T{\\"a}ckstr{\\"o}m, Oscar and Das, Dipanjan and Uszkoreit, Jakob',
        "A Decomposable Attention Model for Natural Language Inference",
        "Conference on Empirical Methods in Natural Language Processing",
        2016,
        "1606.01933",
    ),
    Reference(
        "snell2017",
        "inproceedings",
        "Snell, Jake and Swersky, Kevin and Zemel, Richard",
        "Prototypical Networks for Few-shot Learning",
        "Advances in Neural Information Processing Systems",
        2017,
        "1703.05175",
    ),
    Reference(
        "finn2017",
        "inproceedings",
        "Finn, Chelsea and Abbeel, Pieter and Levine, Sergey",
        "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks",
        "International Conference on Machine Learning",
        2017,
        "1703.03400",
    ),
    Reference(
        "li2017",
        "article",
        "Li, Zhenguo and Zhou, Fengwei and Chen, Fei and Li, Hang",
        "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning",
        "arXiv preprint",
        2017,
        "1707.09835",
    ),
    Reference(
        "nichol2018",
        "article",
        "Nichol, Alex and Achiam, Joshua and Schulman, John",
        "On First-Order Meta-Learning Algorithms",
        "arXiv preprint",
        2018,
        "1803.02999",
    ),
    Reference(
        "raghu2020",
        "inproceedings",
        "Raghu, Aniruddh and Raghu, Maithra and Bengio, Samy and Vinyals, Oriol",
        "Rapid Learning or Feature Reuse? Towards Understanding the Effectiveness of MAML",
        "International Conference on Learning Representations",
        2020,
        "1909.09157",
    ),
    Reference(
        "triantafillou2020",
        "inproceedings",
        "Triantafillou, Eleni and Zhu, Tyler and Dumoulin, Vincent and Lamblin, Pascal and Evci, Utku and Xu, Kelvin "
        "and Goroshin, Ross and Gelada, Carles and Swersky, Kevin and Manzagol, Pierre-Antoine and Larochelle, Hugo",
        "Meta-Dataset: A Dataset of Datasets for Learning to Learn from Few Examples",
        "International Conference on Learning Representations",
        2020,
        "1903.03096",
    ),
    Reference(
        "sung2018",
        "inproceedings",
        "Sung, Flood and Yang, Yongxin and Zhang, Li and Xiang, Tao and Torr, Philip H. S. and Hospedales, Timothy M.",
        "Learning to Compare: Relation Network for Few-Shot Learning",
        "IEEE Conference on Computer Vision and Pattern Recognition",
        2018,
        "1711.06025",
    ),
    Reference(
        "ye2020",
        "inproceedings",
        "Ye, Han-Jia and Hu, Hexiang and Zhan, De-Chuan and Sha, Fei",
        "Few-Shot Learning via Embedding Adaptation with Set-to-Set Functions",
        "IEEE Conference on Computer Vision and Pattern Recognition",
        2020,
        "1812.03664",
    ),
    Reference(
        "doersch2020",
        "inproceedings",
        "Doersch, Carl and Gupta, Ankush and Zisserman, Andrew",
        "CrossTransformers: spatially-aware few-shot transfer",
        "Advances in Neural Information Processing Systems",
        2020,
        "2007.11498",
    ),
    Reference(
        "wang2019",
        "article",
        "Wang, Yan and Chao, Wei-Lun and Weinberger, Kilian Q. and van der Maaten, Laurens",
        "SimpleShot: Revisiting Nearest-Neighbor Classification for Few-Shot Learning",
        "arXiv preprint",
        2019,
        "1911.04623",
    ),
    Reference(
        "tian2020",
        "inproceedings",
        "Tian, Yonglong and Wang, Yue and Krishnan, Dilip and Tenenbaum, Joshua B. and Isola, Phillip",
        "Rethinking Few-Shot Image Classification: a Good Embedding Is All You Need?",
        "European Conference on Computer Vision",
        2020,
        "2003.11539",
    ),
    Reference(
        "crammer2001",
        "article",
        "Crammer, Koby and Singer, Yoram",
        "On the Algorithmic Implementation of Multiclass Kernel-based Vector Machines",
        "Journal of Machine Learning Research",
        2001,
    ),
    Reference(
        "bertinetto2019",
        "inproceedings",
        "Bertinetto, Luca and Henriques, Jo{\\~a}o F. and Torr, Philip H. S. and Vedaldi, Andrea",
        "Meta-learning with Differentiable Closed-form Solvers",
        "International Conference on Learning Representations",
        2019,
        "1805.08136",
    ),
    Reference(
        "lee2019",
        "inproceedings",
        "Lee, Kwonjoon and Maji, Subhransu and Ravichandran, Avinash and Soatto, Stefano",
        "Meta-Learning with Differentiable Convex Optimization",
        "IEEE Conference on Computer Vision and Pattern Recognition",
        2019,
        "1904.03758",
    ),
    Reference(
        "gidaris2018",
        "inproceedings",
        "Gidaris, Spyros and Komodakis, Nikos",
        "Dynamic Few-Shot Visual Learning without Forgetting",
        "IEEE Conference on Computer Vision and Pattern Recognition",
        2018,
        "1804.09458",
    ),
    Reference(
        "gordon2019",
        "inproceedings",
        "Gordon, Jonathan and Bronskill, John and Bauer, Matthias and Nowozin, Sebastian and Turner, Richard E.",
        "Meta-Learning Probabilistic Inference for Prediction",
        "International Conference on Learning Representations",
        2019,
        "1805.09921",
    ),
    Reference(
        "mishra2018",
        "inproceedings",
        "Mishra, Nikhil and Rohaninejad, Mostafa and Chen, Xi and Abbeel, Pieter",
        "A Simple Neural Attentive Meta-Learner",
        "International Conference on Learning Representations",
        2018,
        "1707.03141",
    ),
    Reference(
        "santoro2016",
        "article",
        "Santoro, Adam and Bartunov, Sergey and Botvinick, Matthew and Wierstra, Daan and Lillicrap, Timothy",
        "One-shot Learning with Memory-Augmented Neural Networks",
        "arXiv preprint",
        2016,
        "1605.06065",
    ),
    Reference(
        "schlag2021",
        "inproceedings",
        'Schlag, Imanol and Irie, Kazuki and Schmidhuber, J{\\"u}rgen',
        "Linear Transformers Are Secretly Fast Weight Programmers",
        "International Conference on Machine Learning",
        2021,
        "2102.11174",
    ),
    Reference(
        "ba2016",
        "inproceedings",
        "Ba, Jimmy and Hinton, Geoffrey E. and Mnih, Volodymyr and Leibo, Joel Z. and Ionescu, Catalin",
        "Using Fast Weights to Attend to the Recent Past",
        "Advances in Neural Information Processing Systems",
        2016,
        "1610.06258",
    ),
    Reference(
        "garnelo2018",
        "inproceedings",
        "Garnelo, Marta and Rosenbaum, Dan and Maddison, Christopher and Ramalho, Tiago and Saxton, David and "
        "Shanahan, Murray and Teh, Yee Whye and Rezende, Danilo and Eslami, S. M. Ali",
        "Conditional Neural Processes",
        "International Conference on Machine Learning",
        2018,
        "1807.01613",
    ),
    Reference(
        "kim2019",
        "inproceedings",
        "Kim, Hyunjik and Mnih, Andriy and Schwarz, Jonathan and Garnelo, Marta and Eslami, Ali and Rosenbaum, Dan and "
        "Vinyals, Oriol and Teh, Yee Whye",
        "Attentive Neural Processes",
        "International Conference on Learning Representations",
        2019,
        "1901.05761",
    ),
    Reference(
        "nguyen2022",
        "inproceedings",
        "Nguyen, Tung and Grover, Aditya",
        "Transformer Neural Processes: Uncertainty-Aware Meta Learning Via Sequence Modeling",
        "International Conference on Machine Learning",
        2022,
        "2207.04179",
    ),
    Reference(
        "patacchiola2020",
        "inproceedings",
        "Patacchiola, Massimiliano and Turner, Jack and Crowley, Elliot J. and O'Boyle, Michael and Storkey, Amos",
        "Bayesian Meta-Learning for the Few-Shot Setting via Deep Kernels",
        "Advances in Neural Information Processing Systems",
        2020,
        "1910.05199",
    ),
    Reference(
        "requeima2019",
        "inproceedings",
        "Requeima, James and Gordon, Jonathan and Bronskill, John and Nowozin, Sebastian and Turner, Richard E.",
        "Fast and Flexible Multi-Task Classification Using Conditional Neural Adaptive Processes",
        "Advances in Neural Information Processing Systems",
        2019,
        "1906.07697",
    ),
    Reference(
        "perez2018",
        "inproceedings",
        "Perez, Ethan and Strub, Florian and de Vries, Harm and Dumoulin, Vincent and Courville, Aaron",
        "FiLM: Visual Reasoning with a General Conditioning Layer",
        "AAAI Conference on Artificial Intelligence",
        2018,
        "1709.07871",
    ),
    Reference(
        "ravi2017",
        "inproceedings",
        "Ravi, Sachin and Larochelle, Hugo",
        "Optimization as a Model for Few-Shot Learning",
        "International Conference on Learning Representations",
        2017,
    ),
    Reference(
        "andrychowicz2016",
        "inproceedings",
        "Andrychowicz, Marcin and Denil, Misha and Gomez, Sergio and Hoffman, Matthew W. and Pfau, David and Schaul, "
        "Tom and Shillingford, Brendan and de Freitas, Nando",
        "Learning to learn by gradient descent by gradient descent",
        "Advances in Neural Information Processing Systems",
        2016,
        "1606.04474",
    ),
    Reference(
        "metz2019",
        "inproceedings",
        "Metz, Luke and Maheswaranathan, Niru and Nixon, Jeremy and Freeman, C. Daniel and Sohl-Dickstein, Jascha",
        "Understanding and correcting pathologies in the training of learned optimizers",
        "International Conference on Machine Learning",
        2019,
        "1810.10180",
    ),
    Reference(
        "hollmann2025",
        "article",
        'Hollmann, Noah and M{\\"u}ller, Samuel and Purucker, Lennart and Krishnakumar, Arjun and others',
        "Accurate predictions on small data with a tabular foundation model",
        "Nature",
        2025,
    ),
    Reference(
        "qu2025",
        "inproceedings",
        'Qu, Jingang and Holzm{\\"u}ller, David and Varoquaux, Ga{\\"e}l and Le Morvan, Marine',
        "TabICL: A Tabular Foundation Model for In-Context Learning on Large Data",
        "International Conference on Machine Learning",
        2025,
        "2502.05564",
    ),
    Reference(
        "muller2022",
        "inproceedings",
        'M{\\"u}ller, Samuel and Hollmann, Noah and Pineda Arango, Sebastian and Grabocka, Josif and Hutter, Frank',
        "Transformers Can Do Bayesian Inference",
        "International Conference on Learning Representations",
        2022,
        "2112.10510",
    ),
)


def find_reference(key: str) -> Reference:
    """The reference with this key.

    Raises:
        ConfigError: there is none.
    """
    known = {reference.key: reference for reference in REFERENCES}
    if key not in known:
        raise ConfigError(f"no reference {key!r}: {did_you_mean(key, known)}")
    return known[key]
